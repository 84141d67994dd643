"""`python -m megatron_codemix` is `codemix`."""

import sys

from megatron_codemix.cli.early import remembering_stops_of

with remembering_stops_of(sys.argv[1:]):
    # Here: to import it takes a moment, in which a training may be asked to stop already.
    from megatron_codemix.cli.main import main

    raise SystemExit(main())
