"""In which modes a conversation is held: `direct` on Synapse, and `conduit` behind its proxy."""

import pytest


def only(mode: str) -> pytest.MarkDecorator:
    """For what does not depend on the homeserver's ways: hold the conversation in one mode."""
    return pytest.mark.parametrize("mode", [mode], indirect=True)
