"""Who computes the cells of a sweep: processes of this machine, a SLURM queue, or a Ray cluster.

Each engine is one file, and nothing but it imports the library that it needs.
"""
