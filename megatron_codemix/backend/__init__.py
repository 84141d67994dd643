"""Devices and process groups: the only code that says which device or which collective library is
used. Everything else is handed a `Backend`.

`environment` is free of torch: it is what must be settled before torch is loaded.
"""
