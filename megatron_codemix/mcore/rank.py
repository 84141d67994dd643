"""The first thing that each rank does, whatever it is for."""

import datetime

from megatron_codemix.backend.devices import Backend, select_backend
from megatron_codemix.backend.environment import DeviceChoice
from megatron_codemix.backend.process_groups import DISTRIBUTED_TIMEOUT, initialize_process_group
from megatron_codemix.launch.placement import RankContext


def start_rank(
    device: DeviceChoice,
    context: RankContext,
    timeout: datetime.timedelta = DISTRIBUTED_TIMEOUT,
) -> Backend:
    """Chooses and prepares the device, and meets the other ranks: every rank calls it.

    timeout: of collectives.

    Raises UnavailableError without such a device, RetryableError with the ranks that do not come.
    """
    backend = select_backend(device, context.local_rank)
    backend.prepare()
    initialize_process_group(
        backend,
        rank=context.rank,
        world_size=context.world_size,
        init_method=context.init_method,
        launch=context.launch,
        hosts=context.hosts,
        timeout=timeout,
    )
    return backend
