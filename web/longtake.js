import { app } from '../../scripts/app.js'

// Whenever a dynamic combo (length, transition) builds its inputs, the frontend makes the node as low as it can be,
// also while a saved node is filled in. That leaves a line and a half to each prompt, whatever the node was saved with.
app.registerExtension({
  name: 'longtake.size',
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith('Longtake')) return
    const onConfigure = nodeType.prototype.onConfigure
    nodeType.prototype.onConfigure = function (saved) {
      onConfigure?.call(this, saved)
      if (saved.size) this.setSize(saved.size)
    }
  }
})
