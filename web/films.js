// Films that are wired of Chain Stages: what a Run will do, said on the node that ends one before it runs, and while it
// runs how far it is.

import { app } from '../../scripts/app.js'
import { nodeAt, ourNodes } from './graph.js'
import { removeNote, showNote } from './notes.js'
import { ask, Question, upstream, whenChanged, whenRunning } from './server.js'
import { after, cost, IDLE, progress } from './storyboard/status.js'

const STAGE = 'LongtakeChainStage'
const STITCH = 'LongtakeStitchChain'
const NOTE = 'longtake_plan'

/** The films of the graph: `{node, plan, run}`, by the node that ends each. */
export const films = new Map()
const watching = new Set()

/** Call `put` whenever something of the films is another. */
export function watchFilms(put) {
  watching.add(put)
  return () => watching.delete(put)
}

// Where a chain ends: Stitch Chain, or a stage that hands on to nothing.
function ends(node) {
  if (node.comfyClass === STITCH) return true
  return node.comfyClass === STAGE && !node.outputs?.[0]?.links?.length
}

async function plan() {
  const last = [...ourNodes()].map(([node]) => node).filter(ends)
  for (const node of films.keys()) if (!last.includes(node)) forget(node)
  if (!last.length) return
  const { output } = await app.graphToPrompt()
  for (const node of last) {
    const prompt = upstream(output, node)
    const kinds = prompt ? Object.values(prompt.prompt).map((of) => of.class_type) : []
    if (!kinds.includes(STAGE)) {
      forget(node)
      continue
    }
    const { ok, answer } = await ask('POST', '/longtake/plan', prompt)
    // What a stage cannot do is worth a word; that a film is not known before it runs is not.
    if (!ok && !answer.stage) forget(node)
    else films.set(node, { node, plan: ok ? answer : null, problem: ok ? '' : answer.error, run: films.get(node)?.run ?? IDLE })
  }
  draw()
}

function forget(node) {
  if (films.delete(node)) removeNote(node, NOTE)
}

function draw() {
  for (const [node, { plan, problem, run }] of films) {
    const words = progress(run, plan) || problem || cost(plan)
    if (words) showNote(node, 'status', words, NOTE)
    else removeNote(node, NOTE)
  }
  watching.forEach((put) => put())
}

app.registerExtension({
  name: 'longtake.films',

  setup() {
    const question = new Question(plan)
    const asked = () => question.ask()
    whenChanged(asked)
    whenRunning((kind, data, node) => {
      for (const [end, film] of films) {
        const isIts = node ? film.plan?.nodes.some((id) => nodeAt(id) === node) : kind === 'begun' || film.run.active
        if (isIts) films.set(end, { ...film, run: after(film.run, kind, data, performance.now()) })
      }
      draw()
      if (kind === 'done' || kind === 'ended') asked()
    })
    asked()
  },

  afterConfigureGraph() {
    films.clear()
    plan().catch(() => {})
  }
})
