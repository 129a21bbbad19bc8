// What went wrong, said on the node that it is of, in its own sentence; and what is shown that this run did not make.

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'
import { isOurs, nodeAt, ourNodes } from './graph.js'
import { markField, unmarkFields } from './marks.js'
import { PROGRESS, removeNote, showNote } from './notes.js'
import { t } from './words.js'

const EARLIER = () => t`What is shown here is of an earlier run.`
const DELIVERS = 'LongtakeEncodeVideo'
const DOCUMENTS = { LongtakeRenderStoryboard: 'storyboard' }

/** What a node is asked, to tell whether it has been changed. */
const asked = (node) => JSON.stringify([node.serialize().widgets_values, node.inputs?.map((input) => input.link)])

function shows(node) {
  const place = node.graph === app.rootGraph ? String(node.id) : `${node.graph.id}:${node.id}`
  return Boolean(app.nodeOutputs?.[place])
}

function dropText(node) {
  const text = node.widgets?.find((widget) => widget.name === PROGRESS)
  if (text) node.removeWidget(text)
  return Boolean(text)
}

let failed = null // {node, asked}

function clear() {
  for (const [node] of ourNodes()) removeNote(node)
  unmarkFields()
  failed = null
}

function fail(node, { message, field }) {
  dropText(node)
  showNote(node, 'alert', shows(node) ? `${message}\n\n${EARLIER()}` : message)
  markField(node, field, DOCUMENTS[node.comfyClass])
  failed = { node, asked: asked(node) }
  if (node.graph === app.canvas.graph) return
  app.extensionManager.toast.add({ severity: 'error', summary: node.title, detail: message, life: 30_000 })
}

// ComfyUI queues what it can: where another output is right, one that is not is left out of the Run, and nothing says so.
let leftOut = null // {node, message, field}

function noteLeftOut(node) {
  const [, id] = [...ourNodes()].find(([other]) => other === node) ?? []
  const [error] = app.extensionManager.lastNodeErrors?.[id]?.errors ?? []
  if (error) {
    const message = t`No film comes of this Run: ComfyUI leaves this node out, ${error.message} (${error.details}).`
    leftOut = { node, message, field: error.extra_info?.input_name }
    fail(node, leftOut)
  } else if (leftOut?.node === node) leftOut = null
}

app.registerExtension({
  name: 'longtake.errors',

  nodeCreated(node) {
    const widget = node.comfyClass === DELIVERS && node.widgets?.[0]
    if (widget) widget.afterQueued = () => noteLeftOut(node)
  },

  setup() {
    let refused = null
    api.addEventListener('execution_start', () => {
      refused = null
      clear()
      if (leftOut) fail(leftOut.node, leftOut)
    })
    api.addEventListener('longtake.refused', ({ detail }) => (refused = detail))
    api.addEventListener('execution_error', ({ detail }) => {
      // A refusal that a look ahead has met and left to the node itself is not what failed.
      const said = refused && detail.exception_message.includes(refused.message) ? refused : null
      refused = null
      // A node that renders looks at those that come after it. ComfyUI puts a refusal of one of them on the node that
      // looked; the same error once more, with the id of the other one, moves the mark there: behind every other
      // listener to the first.
      if (said?.node) {
        const moved = { ...detail, node_id: said.node, node_type: said.kind }
        setTimeout(() => api.dispatchCustomEvent('execution_error', moved))
        refused = { ...said, node: null }
        return
      }
      clear()
      const node = nodeAt(detail.node_id)
      const ran = new Set(detail.executed)
      for (const [other, id] of ourNodes()) {
        if (other === node || ran.has(id)) continue
        if (dropText(other) || shows(other)) showNote(other, 'status', EARLIER())
      }
      if (node && isOurs(node)) fail(node, said ?? { message: detail.exception_message.trim() })
    })
    // Typing, choosing, linking, undoing: whatever changes the node, in either renderer.
    api.addEventListener('graphChanged', () => {
      if (!failed || failed.asked === asked(failed.node)) return
      removeNote(failed.node)
      unmarkFields()
      failed = leftOut = null
    })
  }
})
