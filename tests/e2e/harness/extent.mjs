// How much a run shows: little by default, more with `tests/run --switches N --window SECONDS`.

/** Changes of layer in each scenario that is about them. */
export const SWITCHES = whole('JACKFIELD_SWITCHES', 12);
/** How long a bad link is watched. */
export const WINDOW_MS = 1_000 * whole('JACKFIELD_WINDOW', 10);

function whole(name, otherwise) {
  const number = Number(process.env[name] || otherwise);
  if (!Number.isInteger(number) || number < 1) throw new Error(`${name} must be a whole number from 1 on`);
  return number;
}
