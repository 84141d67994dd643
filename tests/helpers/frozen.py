"""The last import of the server of `commands.py`: what was imported before it is no garbage."""

import gc

gc.collect()
gc.freeze()  # or the first collection of each child would copy it
