// Cards on every Render Storyboard node. The text in its widget is the storyboard; the cards are a drawing of it.

import { app } from '../../../scripts/app.js'
import { ask, Question, upstream, whenChanged, whenRunning } from '../server.js'
import { element } from './elements.js'
import { Panel } from './panel.js'
import { after } from './status.js'

const KIND = 'LongtakeRenderStoryboard'
const WIDGET = 'storyboard'
const HEIGHT = 400 // canvas units
const WIDTH = 920

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
    this.question = new Question(() => this.#plan())
    this.panel = new Panel({
      write: (text) => this.#write(text),
      show: (isText) => (node.properties[AS_TEXT] = isText || undefined),
      wheel: toCanvas,
      replan: () => this.ask(0)
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

  ask(pause) {
    this.question.ask(pause)
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

  async #plan() {
    if (!this.node.graph) return
    const text = String(this.widget.value ?? '')
    const read = this.panel.isFixed ? await ask('POST', '/longtake/storyboard', { text }) : null
    if (read && !read.ok) return this.panel.told(null, read.answer, '')
    const prompt = upstream((await app.graphToPrompt()).output, this.node)
    if (!prompt) return this.panel.told(null, null, read?.answer.storyboard)
    const { ok, answer } = await ask('POST', '/longtake/plan', prompt)
    if (text !== this.widget.value) return this.ask()
    this.panel.told(ok ? answer : null, ok ? null : answer, read?.answer.storyboard)
    if (!ok) return
    plans.set(`${this.id} ${text}`, answer)
    if (plans.size > PLANS) plans.delete(plans.keys().next().value)
  }
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

// A press beside the cards takes the keyboard away from them; the canvas, which does not take it, would leave it there.
function leave(event) {
  const active = document.activeElement
  const face = active?.closest?.('.longtake-storyboard')
  if (face && !face.contains(event.target)) active.blur()
}

// A node made anew by undo has a panel of its own, and Nodes 2.0 keeps the old one in the page. A node that is gone may
// have its graph still.
function mount(face) {
  const { node, panel } = face
  if (!faces.has(face) || panel.root.isConnected || node.graph !== app.canvas?.graph) return
  document.querySelector(`[data-node-id="${node.id}"] .longtake-storyboard`)?.replaceWith(panel.root)
}

app.registerExtension({
  name: 'longtake.storyboard',

  setup() {
    document.head.append(element('link', { rel: 'stylesheet', href: new URL('cards.css', import.meta.url) }))
    whenRunning((kind, data, node) => {
      for (const face of faces) {
        const isIts = kind === 'begun' || (kind === 'ended' ? face.panel.run.active : face.node === node)
        if (isIts) face.ran(kind, data)
      }
    })
    document.addEventListener('pointerdown', leave, true)
    document.addEventListener('keydown', undone, true)
    // A model was exchanged, a LoRA put on, an image connected: the takes are others then.
    whenChanged(() => faces.forEach((face) => face.ask()))
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
      face.question.drop()
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
