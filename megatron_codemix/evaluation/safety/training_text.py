"""Whether strings stand in the text of token shards, byte for byte."""

from collections.abc import Sequence

from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.tokenizer import Tokenizer

MAX_TOKENS = 50_000_000
"""A larger shard is not searched; this many take some seconds."""
_TOKENS_AT_ONCE = 1 << 20


def strings_in_shard(
    strings: Sequence[str], shard: TokenShard, tokenizer: Tokenizer, max_tokens: int = MAX_TOKENS
) -> set[str] | None:
    """Those that occur in the shard; None where it is larger than `max_tokens`.

    Raises DataError on a damaged block.
    """
    if shard.num_tokens > max_tokens:
        return None
    wanted = {string: string.encode() for string in strings}
    longest = max(map(len, wanted.values()), default=0)
    found: set[str] = set()
    tail = b""
    for start in range(0, shard.num_tokens, _TOKENS_AT_ONCE):
        stop = min(start + _TOKENS_AT_ONCE, shard.num_tokens)
        text = tail + tokenizer.decode_bytes(shard.tokens(start, stop).tolist())
        found |= {string for string, data in wanted.items() if data in text}
        tail = text[-longest:] if longest else b""
    return found
