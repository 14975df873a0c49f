// The form that changes the scene: model, loop and plane.

import { disclosure } from "./disclosure.js";

const DEFAULTS = {
  scheduler: "", steps: "10", geometry: "spherical", length: "", base_seed: "420", direction_seeds: "100,200", dtype: "auto",
  image_level: "0.3", through: "", labels: "", guidance_scale: "1",
};

/** One line that says what a page shows. */
export function summaryOf(scene, facts) {
  if (facts.summary) return facts.summary;
  const level = scene.image_level ?? DEFAULTS.image_level;
  const origin = scene.through ? ` through the noises ${scene.through.replaceAll(",", ", ")}` : "";
  const all = scene.steps ?? DEFAULTS.steps;
  const steps = facts.first_step ? `the last ${all - facts.first_step} of ${all} steps` : `${all} steps`;
  const start = scene.image ? `, added to an image (level ${level})` : "";
  const plane = `${scene.geometry ?? DEFAULTS.geometry} plane of side ${facts.length}${origin}${start}`;
  const guidance = scene.guidance_scale ? `, guidance ${scene.guidance_scale}` : "";
  const condition = scene.labels ? ` under class ${scene.labels}${guidance}` : "";
  return `${scene.model}${condition} · ${facts.scheduler}, ${steps} · ${plane}${facts.note ? ` · ${facts.note}` : ""}`;
}

export class Settings {
  /** @param onScene called with the fields of the scene that the user asks for */
  constructor(form, button, onScene) {
    this.form = form;
    disclosure(form, button, () => this.field("model").focus());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      onScene(this.fields());
    });
  }

  /** The field of a name; `form.elements` has a property `length` of its own. */
  field(name) {
    return this.form.querySelector(`[name="${name}"]`);
  }

  fill(scene, { models }) {
    const options = models.map((name) => Object.assign(document.createElement("option"), { value: name, textContent: name }));
    this.field("model").replaceChildren(...options);
    this.kept = { ...scene };
    for (const [name, value] of Object.entries({ ...DEFAULTS, ...scene })) {
      const field = this.field(name);
      if (field && field.type !== "checkbox") field.value = value;
    }
    this.field("reject").checked = scene.reject === "1";
  }

  /** The fields of the form that differ from their defaults, and those of the scene that it does not show. */
  fields() {
    const fields = { ...this.kept };
    for (const name of ["model", ...Object.keys(DEFAULTS)]) {
      const value = this.field(name).value.trim().replaceAll(" ", "");
      if (value === (DEFAULTS[name] ?? null)) delete fields[name];
      else fields[name] = value;
    }
    if (this.field("reject").checked) fields.reject = "1";
    else delete fields.reject;
    return fields;
  }
}
