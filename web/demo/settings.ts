/** The form of a mechanism's settings, made from its schema; no setting is named here. */
import type { Field, MechanismDescription } from "../src/index.js";

type Schema = Field & { at_least?: number; at_most?: number; above?: number; below?: number };
export type Config = Record<string, unknown>;

/** By name: which settings come first, and which do not appear. */
export interface Form {
  first: readonly string[];
  left_out: readonly string[];
}

/** Fills the fieldset with one control for each setting; those the job chose come first, the others fold away. */
export function showSettings(
  fieldset: HTMLFieldSetElement,
  mechanism: MechanismDescription,
  config: Config,
  { first: prominent, left_out: fixed }: Form,
): void {
  const legend = fieldset.querySelector("legend");
  const shown = mechanism.config.filter((field) => !fixed.includes(field.name));
  const first = shown.filter((field) => prominent.includes(field.name));
  const rest = shown.filter((field) => !prominent.includes(field.name));
  const more = document.createElement("details");
  more.open = fieldset.querySelector("details")?.open ?? false;
  more.innerHTML = "<summary>More settings</summary>";
  more.append(...rest.map((field) => control(field, config[field.name])));
  fieldset.replaceChildren(
    ...(legend ? [legend] : []),
    ...first.map((field) => control(field, config[field.name])),
    ...(rest.length > 0 ? [more] : []),
  );
}

/** What the form says, by the names of the schema. */
export function readSettings(fieldset: HTMLFieldSetElement, mechanism: MechanismDescription): Config {
  const config: Config = {};
  for (const field of mechanism.config) {
    const input = fieldset.querySelector<HTMLInputElement | HTMLSelectElement>(`[name="${field.name}"]`);
    if (input) config[field.name] = entered(input, field);
  }
  return config;
}

function control(field: Schema, value: unknown): HTMLLabelElement {
  const label = document.createElement("label");
  label.className = "field";
  label.title = field.doc;
  const name = document.createElement("span");
  name.textContent = field.name.replaceAll("_", " ");
  label.append(name, field.choices ? choice(field, value) : input(field, value));
  return label;
}

function choice(field: Schema, value: unknown): HTMLSelectElement {
  const select = document.createElement("select");
  select.name = field.name;
  select.append(...(field.choices ?? []).map((option) => new Option(String(option), String(option))));
  select.value = String(value);
  return select;
}

function input(field: Schema, value: unknown): HTMLInputElement {
  const box = document.createElement("input");
  box.name = field.name;
  if (field.type.startsWith("bool")) {
    box.type = "checkbox";
    box.checked = value === true;
    return box;
  }
  const isNumber = /^(int|float)/.test(field.type);
  box.type = isNumber ? "number" : "text";
  if (isNumber) {
    box.inputMode = "decimal";
    box.step = field.type.startsWith("int") ? "1" : "any";
    const least = field.at_least ?? field.above;
    const most = field.at_most ?? field.below;
    if (least !== undefined) box.min = String(least);
    if (most !== undefined) box.max = String(most);
  }
  const optional = field.type.includes("None");
  box.required = !optional;
  if (optional) box.placeholder = "auto";
  box.value = value === null || value === undefined ? "" : String(value);
  return box;
}

function entered(input: HTMLInputElement | HTMLSelectElement, field: Schema): unknown {
  if (input instanceof HTMLInputElement && input.type === "checkbox") return input.checked;
  if (input.value === "" && field.type.includes("None")) return null;
  return /^(int|float)/.test(field.type) ? Number(input.value) : input.value;
}
