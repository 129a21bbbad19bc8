"""The pack's own socket types."""

from comfy_api.latest import io

ModelBundle = io.Custom("LONGTAKE_MODEL")
Chain = io.Custom("LONGTAKE_CHAIN")
Sampling = io.Custom("LONGTAKE_SAMPLING")
Keyframes = io.Custom("LONGTAKE_KEYFRAMES")

CATEGORY = "Longtake"
