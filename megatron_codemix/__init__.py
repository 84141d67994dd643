"""Code-versus-text data-mixture studies on megatron-core, from a laptop to an H100 cluster."""

__version__ = "0.1.0"
