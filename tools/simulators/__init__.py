"""Simulated upstreams: six vendors' wire formats on real sockets, deterministic, strict, faulty on demand.

    async with Fleet() as fleet:
        settings = fleet.environment()                 # OPENAI_BASE_URL, OPENAI_API_KEY, ...
        fleet.openai.enqueue(Scenario(text="Hi", cut_after=2))
        ...
        assert fleet.openai.requests[-1].json["stream"] is True

Each simulator checks requests as its vendor does and answers what its vendor would refuse with the vendor's own error.
Any key is good unless it is empty or starts with "wrong". Models that the vendor has switched off answer the vendor's
404, unless `serve_retired` is set on the fleet or in the scenario.

The answer (`Scenario`) is chosen in this order:

1. in process: `simulator.enqueue(Scenario(...), ...)`, one per request;
2. out of process: a last user text, or picture prompt, of `@sim {"text": "Hi", "cut_after": 2}`: the fields of
   `Scenario` as a JSON object (`directive` writes one). It counts only while no assistant turn follows it;
3. `simulator.default`, initially an answer derived from the request (`tools.simulators.composition`).

A scenario with `raw` replays recorded bytes without any check of the request; `tools.simulators.transcripts` makes one
from a recording. `requests`, `request_count`, `aborted` and `open_connections` record what the simulator received.
"""

from tools.simulators.fleet import Fleet
from tools.simulators.received import ReceivedRequest
from tools.simulators.scenario import RawReply, Scenario, ScenarioError, ToolCall, directive, split
from tools.simulators.simulator import Simulator

__all__ = [
    "Fleet",
    "RawReply",
    "ReceivedRequest",
    "Scenario",
    "ScenarioError",
    "Simulator",
    "ToolCall",
    "directive",
    "split",
]
