// What is said of a storyboard and its stages.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { after, carried, cost, IDLE, left, progress, share, statuses } from '../../web/storyboard/status.js'

const stage = (stage, written, frames = 81) => ({ stage, written, adds_seconds: 5, rendered_frames: frames })
const PLAN = {
  stages: [stage(1, 1), stage(2, 2), stage(3, 3, 161), stage(4, 4)],
  takes: [
    { stage: 1, status: 'stored', take: 'aa', number: 2 },
    { stage: 2, status: 'new', take: 'bb', older: 'b0' },
    { stage: 3, status: 'new', take: 'cc', older: null },
    { stage: 4, status: 'new', take: 'dd', older: null }
  ],
  frames: 324, seconds: 20.25, fps: 16, stages_to_render: 3, rendering_seconds: 250, disk_bytes: 120_400_000, notes: []
}

test('the cost of a run is said in a line, and what is not known is not made up', () => {
  assert.equal(cost(PLAN), 'renders 3 of 4 stages, about 4 minutes, 120 MB')
  assert.equal(
    cost({ ...PLAN, rendering_seconds: null, disk_bytes: null }), 'renders 3 of 4 stages, time not known yet, size not known yet'
  )
  assert.equal(cost({ ...PLAN, stages_to_render: 0 }), 'all 4 stages are stored, nothing to render')
  assert.equal(cost({ ...PLAN, takes: null, notes: ['a note', 'what is stored is not known'] }), 'what is stored is not known')
  assert.equal(cost(null), '')
})

test('a stage is stored, older than its words, or will be rendered, with the take to look at', () => {
  const said = statuses(4, PLAN, IDLE)
  assert.deepEqual(said.map((of) => of.kind), ['stored', 'older', 'new', 'new'])
  assert.deepEqual(said.map((of) => of.take), ['aa', 'b0', null, null])
  assert.equal(said[0].text, 'stored, take 2')
})

test('a stage that becomes several is stored when all of them are', () => {
  const plan = { ...PLAN, stages: [stage(1, 1), stage(2, 1), stage(3, 2), stage(4, 2)] }
  const said = statuses(2, plan, IDLE)
  assert.deepEqual(said.map((of) => [of.kind, of.seconds]), [['new', 10], ['new', 10]])
  assert.equal(said[0].text, '1 of its 2 stages will be rendered')
})

test('where each stage is approved, what waits is said and what comes behind it is held', () => {
  const [first, second, third] = PLAN.takes
  const held = (take) => ({ ...take, status: 'held' })
  const takes = [{ ...first, waits: false }, { ...second, waits: false }, held(third), held(PLAN.takes[3])]
  const plan = { ...PLAN, takes, stages_to_render: 1, rendering_seconds: 70, disk_bytes: 4e7 }
  assert.equal(cost(plan), 'renders 1 of 4 stages, about 70 s, 40 MB, then waits for your yes')
  assert.deepEqual(statuses(4, plan, IDLE).map((of) => of.kind), ['stored', 'older', 'held', 'held'])
  const waiting = { ...plan, stages_to_render: 0, takes: [{ ...first, waits: true }, held(second), held(third), held(PLAN.takes[3])] }
  assert.equal(cost(waiting), 'stage 1 of 4 waits for your yes, nothing is rendered before')
  assert.deepEqual(statuses(4, waiting, IDLE).map((of) => [of.kind, of.take]).slice(0, 2), [['waits', 'aa'], ['held', 'b0']])
})

test('without a plan nothing is claimed, and a refusal stands on its stage', () => {
  const none = statuses(2, null, IDLE)
  assert.deepEqual(none.map((of) => of.kind), ['unknown', 'unknown'])
  const stages = [{ prompt: 'a' }, { prompt: 'b' }]
  const said = carried(stages, stages, none, { stage: 2, error: 'stage 2, frames: 6 is not on the grid' })
  assert.deepEqual(said.map((of) => of.kind), ['unknown', 'failed'])
  assert.equal(said[1].text, 'stage 2, frames: 6 is not on the grid')
})

test('until there is a new plan a moved stage keeps what is known of it, and a changed one nothing but its picture', () => {
  const stages = ['a', 'b', 'c', 'd'].map((prompt) => ({ prompt }))
  const known = statuses(4, PLAN, IDLE)
  const takes = (now) => carried(now, stages, known, null).map((of) => [of.kind, of.take])
  const [a, b, c, d] = stages
  assert.deepEqual(takes([b, a, c, d]), [['older', 'b0'], ['stored', 'aa'], ['new', null], ['new', null]])
  assert.deepEqual(takes([{ prompt: 'x' }, b, c, d])[0], ['unknown', 'aa'])
  assert.deepEqual(takes([b, c, d]), [['older', 'b0'], ['new', null], ['new', null]])
  assert.deepEqual(takes([a, { prompt: 'x' }, b, c, d])[1], ['unknown', null])
})

test('a run says stage, step and the time left of the film', () => {
  let run = after(IDLE, 'done', { stage: 1, stages: 4 })
  run = after(run, 'started', { stage: 2, stages: 4, frames: 81 })
  assert.equal(statuses(4, PLAN, run)[1].kind, 'rendering')
  assert.equal(progress(run, PLAN), 'stage 2 of 4')
  for (let step = 1; step <= 5; step++) run = after(run, 'step', { stage: 2, stages: 4, frames: 81, step, steps: 20 }, step * 2000)
  // Two seconds a step: 15 more of this stage, then 20 each of 161 and 81 frames.
  assert.deepEqual(left(run, PLAN), { stage: 30, film: 30 + (2 * 20 * 242) / 81 })
  assert.equal(progress(run, PLAN), 'stage 2 of 4, step 5 of 20, about 2 minutes left')
  assert.equal(statuses(4, PLAN, run)[1].text, 'step 5 of 20, about 30 s left')
  assert.equal(share(run), (1 + 5 / 20) / 4)
})

test('a failure stands on the stage that it names, or on the one that was at work', () => {
  const run = after(IDLE, 'step', { stage: 2, stages: 4, step: 1, steps: 4 })
  assert.equal(after(run, 'failed', { message: 'stage 3, end_image: it is gone' }).failed.stage, 3)
  assert.deepEqual(statuses(4, PLAN, after(run, 'failed', { message: 'out of memory' }))[1], {
    ...statuses(4, PLAN, IDLE)[1], kind: 'failed', text: 'out of memory'
  })
  assert.equal(after(run, 'begun').failed, null)
})
