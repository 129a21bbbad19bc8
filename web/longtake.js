import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'
import { isOurs } from './graph.js'
import { addStyle } from './notes.js'
import { speak, t } from './words.js'

// Room for what is written, in canvas units; the frontend's own is a line and a half.
const TEXT_HEIGHT = { prompt: 100, negative_prompt: 60, prompts: 200, storyboard: 600 }
const DOCUMENT_WIDTH = 640
const PLAN_HEIGHT = 76 // what a Run will do, in two lines

const COLOURS = {
  LONGTAKE_MODEL: '#b39ddb',
  LONGTAKE_CHAIN: '#ffb74d',
  LONGTAKE_SAMPLING: '#80cbc4',
  LONGTAKE_GUIDE: '#a5d6a7'
}

// Nodes 2.0 folds what is marked as advanced. The classic canvas hides widgets that say so themselves, and keeps their
// room all the same, 4 units apart from the next.
function fold(node, widget) {
  widget.advanced = true
  const own = widget.computeSize
  const none = () => [0, -4]
  Object.defineProperty(widget, 'computeSize', {
    configurable: true,
    get: () => (node.showAdvanced || globalThis.LiteGraph?.vueNodesMode ? own : none)
  })
}

function arrange(node, widget) {
  if (widget.options?.advanced) fold(node, widget)
  // The frontend calls the control after its mode where the server says which one it begins with.
  if (widget.name === 'fixed') widget.label = t`control after generate`
  const height = TEXT_HEIGHT[widget.name]
  if (height && widget.element?.tagName === 'TEXTAREA') widget.options.getMinHeight = () => height
}

app.registerExtension({
  name: 'longtake.nodes',

  async init() {
    try {
      const language = app.extensionManager.setting.get('Comfy.Locale')
      speak((await api.getCustomNodesI18n())[language]?.longtake)
    } catch (error) {
      console.debug('Longtake: it speaks English', error)
    }
  },

  setup() {
    // As a sheet: whenever a palette is loaded, it takes the colours of types that it does not know off the element.
    const colours = Object.entries(COLOURS).map(([type, colour]) => `--color-datatype-${type}: ${colour};`)
    addStyle(`:root { ${colours.join(' ')} }`)
  },

  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith('Longtake')) return
    // Whenever a dynamic combo (length, transition) builds its inputs, the frontend makes the node as low as it can
    // be, also while a saved node is filled in: what it was saved with would be lost.
    const onConfigure = nodeType.prototype.onConfigure
    nodeType.prototype.onConfigure = function (saved) {
      onConfigure?.call(this, saved)
      if (saved.size) this.setSize(saved.size)
    }
    // A socket that grows is called by its number otherwise.
    const onInputAdded = nodeType.prototype.onInputAdded
    nodeType.prototype.onInputAdded = function (input) {
      if (/^guides\.guide\d+$/.test(input.name)) input.label = t`guide`
      return onInputAdded?.call(this, input)
    }
  },

  nodeCreated(node) {
    if (!isOurs(node)) return
    // The palette sets the colours of the types it knows whenever it is loaded, and leaves the others grey.
    Object.assign(app.canvas?.default_connection_color_byType ?? {}, COLOURS)
    Object.assign(globalThis.LGraphCanvas?.link_type_colors ?? {}, COLOURS)
    node.widgets?.forEach((widget) => arrange(node, widget))
    // Widgets come and go with what is chosen in others.
    const addCustomWidget = node.addCustomWidget
    node.addCustomWidget = function (widget) {
      // Nodes 2.0 reads a line of progress as Markdown, which runs its lines together and takes `*` for emphasis.
      if (widget.type === 'progressText') widget.type = 'textPreview'
      const added = addCustomWidget.call(this, widget)
      arrange(this, added)
      return added
    }
    const isDocument = node.comfyClass === 'LongtakeRenderStoryboard'
    const [width, height] = node.computeSize()
    const room = node.comfyClass === 'LongtakeStitchChain' ? PLAN_HEIGHT : 0
    node.setSize([Math.max(width, node.size[0], isDocument ? DOCUMENT_WIDTH : 0), height + room])
  }
})
