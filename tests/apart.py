"""Run what is asynchronous in a thread of its own: a browser's driver may keep this thread's loop running."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def run_apart(waiting: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine gives."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, waiting).result()
