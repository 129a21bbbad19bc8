"""One LTX-2 stage by ComfyUI's own nodes, in this process."""

from __future__ import annotations

from typing import Any

from . import device


def stock_latent(model: Any, job: Any, known: Any, seed: int, positive: Any, negative: Any) -> dict[str, Any]:
    """LATENT of a stage's picture; its sound is sampled along.

    Args:
        known: frames `[K, H, W, 3]` it begins with, or None.
    """
    from comfy_extras.nodes_custom_sampler import (
        CFGGuider,
        KSamplerSelect,
        ManualSigmas,
        RandomNoise,
        SamplerCustomAdvanced,
    )
    from comfy_extras.nodes_lt import (
        EmptyLTXVLatentVideo,
        LTXVConcatAVLatent,
        LTXVConditioning,
        LTXVImgToVideoInplace,
        LTXVSeparateAVLatent,
    )
    from comfy_extras.nodes_lt_audio import LTXVEmptyLatentAudio

    rate = float(model.fps)
    positive, negative = LTXVConditioning.execute(positive, negative, rate).args
    (video,) = EmptyLTXVLatentVideo.execute(job.width, job.height, job.frames, 1).args
    if known is not None:
        (video,) = LTXVImgToVideoInplace.execute(model.vae.get(), known, video, 1.0, False).args
    (audio,) = LTXVEmptyLatentAudio.execute(job.frames, rate, 1, model.audio_vae.get()).args
    (both,) = LTXVConcatAVLatent.execute(video, audio).args
    sigmas = ", ".join(map(str, model.variant.sampling.sigmas))
    done = SamplerCustomAdvanced.execute(
        RandomNoise.execute(seed).args[0],
        CFGGuider.execute(model.high.get(), positive, negative, 1.0).args[0],
        KSamplerSelect.execute("euler").args[0],
        ManualSigmas.execute(sigmas).args[0],
        both,
    ).args[0]
    device.end_node()
    return LTXVSeparateAVLatent.execute(done).args[0]
