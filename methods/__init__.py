"""Every module here is one adaptation method, named as its file."""
