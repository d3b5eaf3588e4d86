"""Values that nobody expects, for the tests of this folder; how many is said by the environment."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# `python -m tests.fuzz` sets it; the suite takes few examples, and the same ones each time
TIMES = int(os.environ.get("MEMTRIX_FUZZ_TIMES", "1"))


def tries(examples: int) -> settings:
    return settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


NUMBERS = st.integers() | st.floats() | st.sampled_from([10**19, 10**400, -(10**400), 1e308, -1, 0])
TEXTS = (
    st.text(max_size=20)
    | st.text(alphabet=st.characters(), max_size=10)  # surrogates too
    | st.sampled_from(["", "\0", "\ud800", "\udc00\ud800", "x" * 3000, "\u202e\u2028", "../../x"])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def nested(depth: int, inner: str = "") -> str:
    """JSON, lists in each other."""
    return "[" * depth + inner + "]" * depth
