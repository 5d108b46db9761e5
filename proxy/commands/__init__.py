"""The commands, one module each; `proxy.__main__` lists them."""
