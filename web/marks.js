// The field that a sentence is about, marked on its node in both renderers; nothing of it is saved.

import { addStyle } from './notes.js'

const RED = '#f55'
const sheet = addStyle('')
let marked = []

/** Inputs that `field` means: "width" is "size.width", "guides" is each of "guides.guide0" and so on. */
function inputsOf(node, field) {
  const names = [...new Set([...(node.inputs ?? []), ...(node.widgets ?? [])].map(({ name }) => name))]
  const exact = names.filter((name) => name === field)
  const inner = names.filter((name) => name.endsWith(`.${field}`) || name.startsWith(`${field}.`))
  return exact.length ? exact : inner
}

/** Mark the input of a node that `field` names, or that all of what is written in (`fallback`). */
export function markField(node, field, fallback) {
  const names = field ? inputsOf(node, field) : []
  for (const name of names.length ? names : inputsOf(node, fallback ?? '')) markInput(node, name)
  node.setDirtyCanvas(true, true)
}

export function unmarkFields() {
  for (const undo of marked) undo()
  marked = []
  sheet.textContent = ''
}

function markInput(node, name) {
  const slot = node.inputs?.find((input) => input.name === name)
  const own = node.widgets?.find((one) => one.name === name)
  // A storyboard is shown as its cards.
  const widget = own?.hidden ? node.widgets.find((one) => one.name === 'cards') : own
  if (slot) {
    slot.hasErrors = true
    marked.push(() => (slot.hasErrors = false))
  }
  if (widget?.element) {
    const { outline } = widget.element.style
    widget.element.style.outline = `2px solid ${RED}`
    marked.push(() => (widget.element.style.outline = outline))
  } else if (widget) {
    // The classic canvas asks each widget for its colours.
    for (const colour of ['outline_color', 'secondary_text_color']) {
      Object.defineProperty(widget, colour, { configurable: true, value: RED })
      marked.push(() => delete widget[colour])
    }
  }
  if (slot) sheet.textContent += ruleOf(node, slot)
}

// Nodes 2.0 draws rows of its own: sockets in the order of the node, widgets with the place of their socket.
function ruleOf(node, slot) {
  const index = node.inputs.indexOf(slot)
  const inside = `[data-node-id="${node.id}"]`
  if (slot.widget) {
    const row = `${inside} [data-testid="node-widget"]:has([data-slot-key="${node.id}-in-${index}"])`
    return `${row} { outline: 2px solid ${RED}; outline-offset: -1px; border-radius: 6px; }\n`
  }
  const place = node.inputs.slice(0, index + 1).filter((input) => !input.widget).length
  return `${inside} .lg-slot--input:not(.lg-slot--dot-only):nth-child(${place}) { outline: 2px solid ${RED}; }\n`
}
