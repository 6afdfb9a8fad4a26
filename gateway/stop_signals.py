"""The signals on which the gateway drains and exits."""

import asyncio
import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGTERM, SIGINT (Ctrl-C), and SIGHUP (the terminal was closed) unless it is ignored, as under ``nohup``."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT) if ignored else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def stop_event() -> asyncio.Event:
    """Install handlers for the stop signals that set the event. Before, they end the process at once."""
    stopped = asyncio.Event()
    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped
