"""The pack's own socket types."""

from comfy_api.latest import io

ModelBundle = io.Custom("LONGTAKE_MODEL")
Chain = io.Custom("LONGTAKE_CHAIN")
Sampling = io.Custom("LONGTAKE_SAMPLING")
Guide = io.Custom("LONGTAKE_GUIDE")

# Folders of the node library.
LOAD, STAGE, FILM, TAKES = "Longtake/Load", "Longtake/Stage", "Longtake/Film", "Longtake/Takes"

PUBLISHED = "as published"
AUTOMATIC = "automatic"  # the choice that leaves a value to the model or the chain
