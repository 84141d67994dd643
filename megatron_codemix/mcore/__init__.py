"""The only code that imports megatron.core: translates our configuration to its configs, builds its
models, runs its steps.

Importing this package installs the CPU meaning of `torch.cuda` where there is no CUDA. That is the
project's one import
effect: it must happen before megatron.core is first imported, and Python runs this file before any
    module below it.
"""

from megatron_codemix.backend import megatron_on_cpu

megatron_on_cpu.install()
