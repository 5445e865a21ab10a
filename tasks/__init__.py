"""Every module here is one family of shift scenarios; `TASKS` lists them."""
