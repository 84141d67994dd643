"""`python -m megatron_codemix` is `codemix`."""

from megatron_codemix.cli.main import main

raise SystemExit(main())
