"""The metadata section: compact JSON in the field order of AWS's builder. It is part of the file, but of no PCR."""

import json

FIXED_BUILD_TIME = "1970-01-01T00:00:00+00:00"
"""AWS's builder writes the current time; a fixed one makes builds of the same parts identical."""


def encode_metadata(
    name: str, version: str, kernel_version: str = "Unknown", build_time: str = FIXED_BUILD_TIME
) -> bytes:
    """The section of an image of this name and version."""
    document = {
        "ImageName": name,
        "ImageVersion": version,
        "BuildMetadata": {
            "BuildTime": build_time,
            "BuildTool": "tools.eif",
            "BuildToolVersion": "1",
            "OperatingSystem": "Linux",
            "KernelVersion": kernel_version,
        },
        "DockerInfo": {},
        "CustomMetadata": {},
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
