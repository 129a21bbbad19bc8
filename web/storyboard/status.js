// What is said of a storyboard and of each of its stages: from the server's plan, and from what it tells while it runs.

import { t } from '../words.js'

const STEPS_SEEN = 9 // the newest, that a pace is told by

export function lasting(seconds) {
  if (seconds < 100) return t`${Math.max(1, Math.round(seconds))} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 100) return t`${minutes} minutes`
  return t`${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

export function room(bytes) {
  const megabytes = bytes / 1e6
  if (megabytes >= 1000) return `${(megabytes / 1000).toFixed(1)} GB`
  return megabytes < 1 ? t`under 1 MB` : `${Math.round(megabytes)} MB`
}

/** How long the film is: "15.2 s, 243 frames at 16 a second". */
export function length(plan) {
  return plan ? t`${round(plan.seconds)} s, ${plan.frames} frames at ${round(plan.fps)} a second` : ''
}

/** What a Run would do: "renders 1 of 6 stages, about 4 minutes, 120 MB". */
export function cost(plan) {
  if (!plan) return ''
  if (!plan.takes) return plan.notes.at(-1)
  const all = plan.takes.length
  const some = plan.stages_to_render
  const left = plan.takes.filter((take) => take.status === 'left').length
  const waits = plan.takes.find((take) => take.waits)
  if (waits) return t`stage ${waits.stage} of ${all} waits for your yes, nothing is rendered before`
  if (!some && left) return t`renders nothing, ${left} of ${all} stages are left out`
  if (!some) return all === 1 ? t`the stage is stored, nothing to render` : t`all ${all} stages are stored, nothing to render`
  const time = plan.rendering_seconds === null ? t`time not known yet` : t`about ${lasting(plan.rendering_seconds)}`
  const disk = plan.disk_bytes === null ? t`size not known yet` : room(plan.disk_bytes)
  const without = left ? t`, ${left} left out` : ''
  const then = plan.takes.some((take) => take.status === 'held') ? t`, then waits for your yes` : ''
  return (all === 1 ? t`renders the stage, ${time}, ${disk}` : t`renders ${some} of ${all} stages, ${time}, ${disk}`) + without + then
}

/** A run of which nothing has been heard. */
export const IDLE = Object.freeze({ active: false, stage: 0, stages: 0, step: 0, steps: 0, frames: 0, seen: [], done: [], failed: null })

/**
 * The run after an event.
 *
 * @param kind `started`, `step`, `done` (rendered or found stored), `failed`, `ended`.
 * @param data of the event; `message` of a failure.
 * @param now milliseconds.
 */
export function after(run, kind, data = {}, now = 0) {
  const where = { active: true, stage: data.stage, stages: data.stages, frames: data.frames ?? 0 }
  switch (kind) {
    case 'begun':
      return IDLE
    case 'started':
      return { ...run, ...where, step: 0, steps: 0, seen: [] }
    case 'step': {
      const seen = [...(run.stage === data.stage ? run.seen : []), [now, data.step]].slice(-STEPS_SEEN)
      return { ...run, ...where, step: data.step, steps: data.steps, seen }
    }
    case 'done':
      return { ...run, ...where, done: [...run.done, data.stage], step: 0, steps: 0, seen: [] }
    case 'failed': {
      const named = /^(?:[\w.]+: )?stage (\d+)\b/.exec(data.message)
      return { ...run, active: false, failed: { stage: named ? Number(named[1]) : run.stage, message: data.message.trim() } }
    }
    default:
      return { ...run, active: false }
  }
}

/** Seconds that a run takes still: of its stage, and of the film as far as its plan tells; null where not known. */
export function left(run, plan) {
  const [[began, first], [now, last]] = run.seen.length > 1 ? [run.seen[0], run.seen.at(-1)] : [[0, 0], [0, 0]]
  if (last === first) return { stage: null, film: null }
  const aStep = (now - began) / 1000 / (last - first)
  const stage = aStep * (run.steps - run.step)
  const later = plan?.takes?.filter((take) => take.status === 'new' && take.stage > run.stage)
  const frames = later?.map((take) => plan.stages[take.stage - 1].rendered_frames).reduce((sum, of) => sum + of, 0)
  return { stage, film: later && run.frames ? stage + (aStep * run.steps * frames) / run.frames : null }
}

/** What is going on: "stage 2 of 6, step 5 of 20, about 3 minutes left". */
export function progress(run, plan) {
  if (!run.active) return ''
  const { stage, film } = left(run, plan)
  const rest = film ?? (run.stage === run.stages ? stage : null)
  const parts = [t`stage ${run.stage} of ${run.stages}`]
  if (run.steps) parts.push(t`step ${run.step} of ${run.steps}`)
  if (rest !== null && rest >= 1) parts.push(t`about ${lasting(rest)} left`)
  return parts.join(t`, `)
}

/** How much of a run is done, 0 to 1. */
export function share(run) {
  const inStage = run.steps ? run.step / run.steps : run.done.includes(run.stage) ? 1 : 0
  return run.stages ? (run.stage - 1 + inStage) / run.stages : 0
}

/**
 * What each stage of a document is like: `{kind, text, stages, take, number, place, seconds}`.
 *
 * `take` is the key of the take to look at, `number` its number among those of its stage, `place` what they share;
 * `kind` is one of unknown, stored, waits, new, held, left, older, rendering and failed; `stages` are those of the plan that it becomes.
 *
 * @param count of stages in the document.
 */
export function statuses(count, plan, run) {
  return Array.from({ length: count }, (_, index) => {
    const stages = plan?.stages.filter((stage) => stage.written === index + 1) ?? []
    const takes = plan?.takes ? stages.map((stage) => plan.takes[stage.stage - 1]) : []
    const numbers = plan ? stages.map((stage) => stage.stage) : [index + 1]
    const seconds = stages.length ? stages.reduce((sum, stage) => sum + stage.adds_seconds, 0) : null
    const shown = takes.find((take) => take.waits) ?? takes.findLast((take) => take.take && take.status === 'stored') ?? takes.findLast((take) => take.older)
    return {
      ...said(numbers, takes, run),
      stages,
      seconds,
      take: shown?.status === 'stored' ? shown.take : (shown?.older ?? null),
      number: takes.length === 1 ? (takes[0].number ?? null) : null,
      place: takes.length === 1 ? (takes[0].place ?? null) : null
    }
  })
}

/** What can be played of a stage: a take that is stored, and the frames of it that the film shows; null where nothing can. */
export function shownOf({ kind, take, stages }) {
  const isThere = take && stages.length === 1 && kind !== 'older'
  return isThere ? { take, first: stages[0].shows[0], stop: stages[0].shows[1] } : null
}

/**
 * What the stages of a document are like while its own plan is not there: those that a planned one had too keep their
 * pictures and lengths, wherever they stand now, and whatever has changed is not known.
 *
 * @param stages as the document has them now.
 * @param planned as they were when they were planned; `known` what was said of those then.
 * @param problem the refusal of the document, `{error, stage}`, or null.
 */
export function carried(stages, planned, known, problem) {
  const written = planned.map((stage) => JSON.stringify(stage))
  return stages.map((stage, index) => {
    const text = JSON.stringify(stage)
    const same = written[index] === text ? index : written.indexOf(text)
    const inPlace = stages.length === planned.length ? known[index] : undefined
    const status = known[same] ?? { ...(inPlace ?? NOTHING), kind: 'unknown', text: '', number: null }
    if (!problem) return status
    const isIts = problem.stage === index + 1
    return { ...status, kind: isIts ? 'failed' : 'unknown', text: isIts ? problem.error : '' }
  })
}

const NOTHING = { stages: [], take: null, seconds: null, place: null }

function said(numbers, takes, run) {
  if (run.failed && numbers.includes(run.failed.stage)) return { kind: 'failed', text: run.failed.message }
  if (run.active && numbers.includes(run.stage) && !run.done.includes(run.stage)) {
    const { stage } = left(run, null)
    const rest = stage !== null && stage >= 1 ? t`, ` + t`about ${lasting(stage)} left` : ''
    return { kind: 'rendering', text: run.steps ? t`step ${run.step} of ${run.steps}` + rest : t`rendering` }
  }
  if (!takes.length) return { kind: 'unknown', text: '' }
  if (takes.some((take) => take.waits)) return { kind: 'waits', text: t`rendered, waits for your yes` }
  const open = takes.filter((take) => take.status !== 'stored')
  if (!open.length) return { kind: 'stored', text: takes[0].number ? t`stored, take ${takes[0].number}` : t`stored` }
  if (open.every((take) => take.status === 'left')) return { kind: 'left', text: t`left out: not among the stages to render` }
  if (open.every((take) => take.status === 'held')) return { kind: 'held', text: t`will be rendered after a yes to what comes before` }
  if (open.length < takes.length) return { kind: 'new', text: t`${open.length} of its ${takes.length} stages will be rendered` }
  if (takes.some((take) => take.older)) return { kind: 'older', text: t`its take is older than its words` }
  return { kind: 'new', text: t`will be rendered` }
}

function round(number) {
  return Math.round(number * 100) / 100
}
