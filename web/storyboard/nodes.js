// Cards on every Render Storyboard node. The text in its widget is the storyboard; the cards are a drawing of it.

import { api } from '../../../scripts/api.js'
import { app } from '../../../scripts/app.js'
import { nodeAt } from '../graph.js'
import { Panel } from './panel.js'
import { after, IDLE } from './status.js'

const KIND = 'LongtakeRenderStoryboard'
const WIDGET = 'storyboard'
const HEIGHT = 400 // canvas units
const WIDTH = 920
const PAUSE = 450 // milliseconds between the last key and a plan

const AS_TEXT = 'longtake_as_text' // property of a node that is shown as text
const PLANS = 60 // that are remembered

// Undo and redo make a node anew: what was known of it then is shown until it is known anew.
const plans = new Map() // by node and text
const runs = new Map() // by node
const faces = new Set()

class Face {
  constructor(node, widget) {
    this.node = node
    this.widget = widget
    this.timer = 0
    this.asking = false
    this.again = false
    this.panel = new Panel({
      write: (text) => this.#write(text),
      settle,
      show: (isText) => (node.properties[AS_TEXT] = isText || undefined),
      upload,
      address,
      notify: (detail) => app.extensionManager?.toast?.add({ severity: 'warn', summary: 'Longtake', detail, life: 8000 }),
      wheel: (event) => toCanvas(event),
      why,
      confirm: (message) => app.extensionManager.dialog.confirm({ title: 'Longtake', message, type: 'delete' }),
      ask,
      replan: () => this.ask(0),
      queue: () => app.extensionManager.command.execute('Comfy.QueuePrompt')
    })
    widget.hidden = widget.options.hidden = true
    const heard = widget.callback
    widget.callback = (...given) => {
      heard?.apply(widget, given)
      this.read()
    }
    this.drawn = node.addDOMWidget('cards', 'longtake_storyboard', this.panel.root, {
      serialize: false,
      hideOnZoom: false,
      margin: 8,
      getMinHeight: () => HEIGHT
    })
    this.drawn.serialize = false
  }

  get id() {
    return `${this.node.graph?.id ?? ''}:${this.node.id}`
  }

  /** Show what is in the widget, and ask for its plan. */
  read() {
    const text = String(this.widget.value ?? '')
    const run = runs.get(this.id)
    this.panel.isText = Boolean(this.node.properties?.[AS_TEXT])
    if (run?.active) this.panel.run = run
    const linked = this.node.inputs?.find((input) => input.widget?.name === WIDGET)?.link
    this.panel.open(text, (linked ?? null) !== null)
    const plan = plans.get(`${this.id} ${text}`)
    if (plan) this.panel.told(plan, null)
    this.ask()
  }

  ask(pause = PAUSE) {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.#ask(), pause)
  }

  ran(kind, data) {
    this.panel.ran(after(this.panel.run, kind, data, performance.now()))
    runs.set(this.id, this.panel.run)
    if (kind !== 'step') this.ask()
  }

  #write(text) {
    this.widget.value = text
    this.ask()
    app.canvas?.setDirty(true, true)
  }

  async #ask() {
    if (!this.node.graph) return
    if (this.asking) return (this.again = true)
    this.asking = true
    try {
      await this.#plan()
    } catch (error) {
      // The server is away, or starts again: what is shown is what was known last.
      console.debug('Longtake: no plan', error)
    } finally {
      this.asking = false
      if (this.again) {
        this.again = false
        this.ask()
      }
    }
  }

  async #plan() {
    const text = String(this.widget.value ?? '')
    const read = this.panel.isFixed ? await ask('POST', '/longtake/storyboard', { text }) : null
    if (read && !read.ok) return this.panel.told(null, read.answer, '')
    const prompt = await upstream(this.node)
    if (!prompt) return this.panel.told(null, null, read?.answer.storyboard)
    const { ok, answer } = await ask('POST', '/longtake/plan', prompt)
    if (text !== this.widget.value) return this.ask()
    this.panel.told(ok ? answer : null, ok ? null : answer, read?.answer.storyboard)
    if (!ok) return
    plans.set(`${this.id} ${text}`, answer)
    if (plans.size > PLANS) plans.delete(plans.keys().next().value)
  }
}

/** The API prompt of a node and all it is made from, as `/longtake/plan` takes it; null where ComfyUI would not run it. */
async function upstream(node) {
  const { output } = await app.graphToPrompt()
  const id = Object.keys(output).find((id) => nodeAt(id) === node)
  if (!id) return null
  const prompt = {}
  const waiting = [id]
  while (waiting.length) {
    const next = waiting.pop()
    if (next in prompt || !(next in output)) continue
    prompt[next] = output[next]
    for (const value of Object.values(output[next].inputs)) if (Array.isArray(value)) waiting.push(String(value[0]))
  }
  return { prompt, node: id }
}

async function ask(method, path, body) {
  const sent = method === 'POST' ? { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) } : {}
  const response = await api.fetchApi(path, { method, ...sent })
  return { ok: response.ok, answer: await response.json() }
}

async function upload(file) {
  const form = new FormData()
  form.append('image', file)
  const response = await api.fetchApi('/upload/image', { method: 'POST', body: form })
  if (!response.ok) throw new Error(await response.text())
  const { name, subfolder } = await response.json()
  return subfolder ? `${subfolder}/${name}` : name
}

function address(kind, name) {
  if (kind === 'take') return api.apiURL(`/longtake/takes/${name}/thumbnail`)
  if (kind === 'clip') return api.apiURL(`/longtake/takes/${name.take}/clip?first=${name.first}&stop=${name.stop}`)
  const parts = name.replaceAll('\\', '/').split('/')
  const asked = new URLSearchParams({ filename: parts.pop(), subfolder: parts.join('/'), type: 'input' })
  return api.apiURL(`/view?${asked}`)
}

/** The sentence in which the server refuses an address. */
async function why(address) {
  const response = await fetch(address)
  return response.ok ? 'the browser does not play it' : (await response.json()).error
}

/** Let ComfyUI's own history note what has been done, so that its undo takes it back. */
function settle() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker
  ;(tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker)
}

function toCanvas(event) {
  if (globalThis.LiteGraph?.vueNodesMode) return
  event.preventDefault()
  app.canvas.processMouseWheel(event)
}

// The browser would undo what was last written in a field, whether or not somebody writes there, beside what ComfyUI
// takes back.
function undone(event) {
  const isWriting = document.activeElement?.matches('input, textarea, [contenteditable]')
  if (!isWriting && (event.ctrlKey || event.metaKey) && 'zyZY'.includes(event.key)) event.preventDefault()
}

function faceOf(id) {
  const node = nodeAt(id)
  return [...faces].find((face) => face.node === node)
}

// A press beside the cards takes the keyboard away from them; the canvas, which does not take it, would leave it there.
function leave(event) {
  const active = document.activeElement
  const face = active?.closest?.('.longtake-storyboard')
  if (face && !face.contains(event.target)) active.blur()
}

// A node made anew by undo has a panel of its own, and Nodes 2.0 keeps the old one in the page.
function mount({ node, panel }) {
  if (panel.root.isConnected || !node.graph || node.graph !== app.canvas?.graph) return
  document.querySelector(`[data-node-id="${node.id}"] .longtake-storyboard`)?.replaceWith(panel.root)
}

const EVENTS = { stage_started: 'started', step: 'step', stage_done: 'done', stored_hit: 'done' }

app.registerExtension({
  name: 'longtake.storyboard',

  setup() {
    const style = document.createElement('link')
    style.rel = 'stylesheet'
    style.href = new URL('cards.css', import.meta.url)
    document.head.append(style)

    for (const [event, kind] of Object.entries(EVENTS)) {
      api.addEventListener(`longtake.${event}`, ({ detail }) => faceOf(detail.node)?.ran(kind, detail))
    }
    api.addEventListener('execution_start', () => faces.forEach((face) => face.ran('begun')))
    api.addEventListener('execution_error', ({ detail }) => {
      faceOf(detail.node_id)?.ran('failed', { message: String(detail.exception_message ?? '') })
      faces.forEach((face) => face.panel.run.active && face.ran('ended'))
    })
    for (const end of ['execution_success', 'execution_interrupted']) {
      api.addEventListener(end, () => faces.forEach((face) => face.ran('ended')))
    }
    document.addEventListener('pointerdown', leave, true)
    document.addEventListener('keydown', undone, true)
    // A model was exchanged, a LoRA put on, an image connected: the takes are others then.
    api.addEventListener('graphChanged', () => faces.forEach((face) => face.ask()))
    api.addEventListener('reconnected', () => faces.forEach((face) => face.ask()))
    window.addEventListener('focus', () => faces.forEach((face) => face.ask()))
  },

  nodeCreated(node) {
    const widget = node.comfyClass === KIND && node.widgets?.find(({ name }) => name === WIDGET)
    if (!widget || !node.addDOMWidget) return
    const face = new Face(node, widget)
    faces.add(face)
    const connected = node.onConnectionsChange
    node.onConnectionsChange = function (...given) {
      face.read()
      return connected?.apply(this, given)
    }
    const removed = node.onRemoved
    node.onRemoved = function (...given) {
      faces.delete(face)
      clearTimeout(face.timer)
      return removed?.apply(this, given)
    }
    node.setSize([Math.max(WIDTH, node.size[0]), node.computeSize()[1]])
    face.read()
    // Vue draws when it finds the time, and says nothing of it.
    for (const wait of [0, 50, 200, 600, 1500]) setTimeout(() => mount(face), wait)
  },

  afterConfigureGraph() {
    faces.forEach((face) => face.read())
  }
})
