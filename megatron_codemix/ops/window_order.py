"""The endless keyed order of the windows of one stream of tokens."""

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C

PartArrays = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


class WindowOrder:
    """Windows of sequence_length + 1 tokens, epoch after epoch: csrc/order/window_order.h defines
    which.

    Holds no index: up to 65,536 windows in an epoch, the tables of the latest two. Threads may
    share it. A window is called by its cursor: its number over all epochs, from 0.
    """

    def __init__(self, num_tokens: int, sequence_length: int, key: int) -> None:
        """Raises ValueError unless 1 <= sequence_length < num_tokens <= 2^62."""
        self._arguments = (num_tokens, sequence_length, key)
        self.extension = _C.WindowOrder(num_tokens, sequence_length, key)
        self.windows_per_epoch: int = self.extension.windows_per_epoch

    def __reduce__(self) -> tuple[type["WindowOrder"], tuple[int, int, int]]:
        """Pickled as its arguments, so that processes may be handed one."""
        return WindowOrder, self._arguments

    def parts(self, cursors: npt.NDArray[np.int64]) -> PartArrays:
        """(row, first token, tokens) of each piece of the windows, row after row.

        A window is one piece, or two where it runs over the end of the stream into its beginning.
        Raises ValueError on a negative cursor, TypeError if they are not int64.
        """
        return self.extension.parts(cursors)

    def cursor_of(self, epoch: int, token: int) -> int | None:
        """The window of `epoch` that reads `token` as an input; None for the few that none does."""
        return self.extension.cursor_of(epoch, token)
