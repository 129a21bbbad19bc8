import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'

// Room for what is written, in canvas units; the frontend's own is a line and a half.
const TEXT_HEIGHT = 120
const DOCUMENT_HEIGHT = 600
const DOCUMENT_WIDTH = 640

app.registerExtension({
  name: 'longtake.size',

  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith('Longtake')) return
    // Whenever a dynamic combo (length, transition) builds its inputs, the frontend makes the node as low as it can
    // be, also while a saved node is filled in: what it was saved with would be lost.
    const onConfigure = nodeType.prototype.onConfigure
    nodeType.prototype.onConfigure = function (saved) {
      onConfigure?.call(this, saved)
      if (saved.size) this.setSize(saved.size)
    }
  },

  nodeCreated(node) {
    const isDocument = node.comfyClass === 'LongtakeRenderStoryboard'
    const texts = (node.widgets ?? []).filter((widget) => widget.element?.tagName === 'TEXTAREA')
    if (!node.comfyClass?.startsWith('Longtake') || !texts.length) return
    for (const widget of texts) widget.options.getMinHeight = () => (isDocument ? DOCUMENT_HEIGHT : TEXT_HEIGHT)
    const [width, height] = node.computeSize()
    node.setSize([Math.max(width, node.size[0], isDocument ? DOCUMENT_WIDTH : 0), height])
  }
})

// A node that renders looks at those that come after it. ComfyUI puts a refusal of one of them on the node that
// looked; the server names the other one just before, and the same error again with its id moves the mark there.
app.registerExtension({
  name: 'longtake.refusal',

  setup() {
    let refused = null
    api.addEventListener('execution_start', () => (refused = null))
    api.addEventListener('longtake.refused', ({ detail }) => (refused = detail))
    api.addEventListener('execution_error', ({ detail }) => {
      if (!refused) return
      const { node, kind } = refused
      refused = null
      // Behind every other listener to the first one.
      setTimeout(() => api.dispatchCustomEvent('execution_error', { ...detail, node_id: node, node_type: kind }))
    })
  }
})
