// The button that records the chosen noise.

import { post } from "./api.js";
import { find, say } from "./messages.js";
import { cellKey } from "./view_state.js";

export class RecordButton {
  /** @param present gives {scene, cell, layers} of the chosen noise */
  constructor(button, output, present) {
    this.output = output;
    this.present = present;
    this.busy = false;
    button.addEventListener("click", () => this.busy || this.record());
  }

  clear() {
    this.output.textContent = "";
  }

  async record() {
    const { scene, cell, layers } = this.present();
    this.busy = true;
    this.output.textContent = "recording …";
    let done = "";
    try {
      const answer = await post("record", { scene, cell: cellKey(cell), layers: layers.join(",") });
      const { path, label } = JSON.parse(new TextDecoder().decode(answer));
      done = `recorded in ${path} (class ${label})`;
    } catch (error) {
      say(error.message);
    }
    this.busy = false;
    if (this.present().cell === cell) this.output.textContent = done;
    else if (done) find("work").textContent = done; // another noise was chosen since
  }
}
