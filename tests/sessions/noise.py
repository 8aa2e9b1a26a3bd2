"""Text that takes its place."""

from __future__ import annotations

import random
from base64 import b64encode


def noise(size: int) -> str:
    """Return text that the database cannot store in much less, another one each time."""
    return b64encode(random.randbytes(size * 3 // 4)).decode()
