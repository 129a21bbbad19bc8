// A note at the foot of a node's inputs, above what the node shows: a sentence to read, and nothing that is saved.

const NAME = 'longtake_note'
export const PROGRESS = '$$node-text-preview' // ComfyUI's widget for a line of progress
const LINE = 18 // height of a line of text, in canvas units
const LETTER = 6.6 // mean width of a letter

const STYLE = `
.longtake-note {
  box-sizing: border-box; padding: 6px 10px; border-radius: 6px; overflow: auto; user-select: text; cursor: text;
  font: 13px/${LINE}px sans-serif; white-space: pre-wrap; overflow-wrap: anywhere;
}
.longtake-note[role=alert] { background: #5c1a1a; color: #fff; border: 1px solid #f66; }
.longtake-note[role=status] { background: transparent; color: inherit; opacity: .75; border: 1px dashed currentColor; }
`

export function addStyle(text) {
  const style = document.createElement('style')
  style.textContent = text
  document.head.append(style)
  return style
}

addStyle(STYLE)

const noteOf = (node, name) => node.widgets?.find((widget) => widget.name === name)

/**
 * Show `text` on a node: role "alert" for what went wrong, "status" for what is good to know.
 *
 * @param name of the note: a node has one of each name.
 */
export function showNote(node, role, text, name = NAME) {
  const there = noteOf(node, name)
  if (there) {
    there.element.setAttribute('role', role)
    there.element.textContent = text
    return grow(node, there)
  }
  const element = document.createElement('div')
  element.className = 'longtake-note'
  element.setAttribute('role', role)
  element.textContent = text
  const lines = () => {
    const letters = Math.max(10, (node.size[0] - 44) / LETTER)
    return element.textContent.split('\n').reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / letters)), 0)
  }
  const height = () => lines() * LINE + 36
  const options = { serialize: false, hideOnZoom: false, getMinHeight: height, getMaxHeight: height }
  const widget = node.addDOMWidget(name, name, element, options)
  widget.serialize = false
  // Only what is saved may stand before it: values are saved by their place.
  node.widgets.splice(node.widgets.indexOf(widget), 1)
  const saved = node.widgets.findLastIndex((other) => other.serialize !== false)
  node.widgets.splice(saved + 1, 0, widget)
  grow(node, widget)
}

export function removeNote(node, name = NAME) {
  const widget = noteOf(node, name)
  if (!widget) return
  node.removeWidget(widget)
  if (widget.before && node.size[1] === widget.after) node.setSize([node.size[0], widget.before])
  node.setDirtyCanvas(true, true)
}

// The classic canvas leaves a node as high as it is; Nodes 2.0 sees to that itself.
function grow(node, widget) {
  const needed = node.computeSize()[1]
  if (!globalThis.LiteGraph?.vueNodesMode && node.size[1] < needed) {
    widget.before ??= node.size[1]
    node.setSize([node.size[0], needed])
    widget.after = node.size[1]
  }
  node.setDirtyCanvas(true, true)
}
