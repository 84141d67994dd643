"""Which addresses mean this machine alone."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host name or address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
