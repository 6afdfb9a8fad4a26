"""The metadata section: compact JSON in the field order of AWS's builder. It is part of the file, but of no PCR."""

import json
from dataclasses import dataclass
from typing import Any

FIXED_BUILD_TIME = "1970-01-01T00:00:00+00:00"
"""AWS's builder writes the current time; a fixed one makes builds of the same parts identical."""


@dataclass(frozen=True, slots=True)
class Metadata:
    name: str
    version: str
    kernel_version: str = "Unknown"
    build_time: str = FIXED_BUILD_TIME
    build_tool: str = "tools.eif"
    build_tool_version: str = "1"
    operating_system: str = "Linux"

    def encode(self) -> bytes:
        document: dict[str, Any] = {
            "ImageName": self.name,
            "ImageVersion": self.version,
            "BuildMetadata": {
                "BuildTime": self.build_time,
                "BuildTool": self.build_tool,
                "BuildToolVersion": self.build_tool_version,
                "OperatingSystem": self.operating_system,
                "KernelVersion": self.kernel_version,
            },
            "DockerInfo": {},
            "CustomMetadata": {},
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
