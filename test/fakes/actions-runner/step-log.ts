import { type Annotation, type Command, parseCommand } from './commands.ts';
import type { Masker } from './masker.ts';

/** What a program said, as the runner understands it line by line. */
export type StepLog = {
  line(text: string): void;
  /** A line of the runner's own. */
  say(text: string): void;
  annotate(annotation: Annotation): void;
  /** As people see it: masked, commands as the runner shows them. */
  readonly shown: readonly string[];
  /** Every line as it was written. */
  readonly raw: readonly string[];
  readonly annotations: readonly Annotation[];
  readonly groups: readonly string[];
  /** By `::set-output` and `::save-state`: deprecated, and still obeyed. */
  readonly outputs: ReadonlyMap<string, string>;
  readonly state: ReadonlyMap<string, string>;
  /** True when a command was refused, which fails the step. */
  readonly failed: boolean;
};

/** A runner sends so many of each level for one step. */
const annotationsPerLevel = 10;

export function createStepLog(masker: Masker, onLine: (shown: string) => void, debug = false): StepLog {
  const [shown, raw, annotations, groups]: [string[], string[], Annotation[], string[]] = [[], [], [], []];
  const [outputs, state] = [new Map<string, string>(), new Map<string, string>()];
  let resume: string | undefined;
  let failed = false;

  const show = (text: string): void => {
    const masked = masker.mask(text);
    shown.push(masked);
    onLine(masked);
  };
  const annotate = ({ level, message, title, file, line }: Annotation): void => {
    show(`##[${level}]${message}`);
    if (annotations.filter((one) => one.level === level).length >= annotationsPerLevel) return;
    annotations.push({ level, message: masker.mask(message), title: title === undefined ? undefined : masker.mask(title), file, line });
  };
  const refuse = (message: string): void => {
    failed = true;
    annotate({ level: 'error', message });
  };

  const annotation =
    (level: Annotation['level']) =>
    ({ properties, data }: Command): void => {
      const at = Number(properties.line);
      annotate({ level, message: data, title: properties.title, file: properties.file, line: at > 0 ? at : undefined });
    };
  const keep =
    (values: Map<string, string>) =>
    ({ name, properties, data }: Command): void => {
      if (properties.name === undefined) refuse(`Required field 'name' is missing in ##[${name}] command.`);
      else values.set(properties.name, data);
    };
  const disabled = ({ name }: Command): void => refuse(`The \`${name}\` command is disabled. Please upgrade to using Environment Files.`);

  /** What the runner does at each command. */
  const obey: Record<string, (command: Command) => void> = {
    'add-mask': ({ data }) => {
      if (data.trim() !== '') masker.add(data);
      else annotate({ level: 'warning', message: "Can't add secret mask for empty string in ##[add-mask] command." });
    },
    error: annotation('error'),
    warning: annotation('warning'),
    notice: annotation('notice'),
    group: ({ data }) => {
      groups.push(masker.mask(data));
      show(`##[group]${data}`);
    },
    endgroup: () => show('##[endgroup]'),
    debug: ({ data }) => {
      if (debug) show(`##[debug]${data}`);
    },
    'stop-commands': ({ data }) => {
      if (data === '' || parseCommand(`::${data}::`) !== undefined) refuse(`Invalid stop-commands token '${data}'`);
      else resume = data;
    },
    'set-output': keep(outputs),
    'save-state': keep(state),
    'set-env': disabled,
    'add-path': disabled,
  };

  function line(text: string): void {
    raw.push(text);
    const command = parseCommand(text, resume);
    if (command === undefined || resume !== undefined) {
      if (command?.name === resume?.toLowerCase()) resume = undefined;
      show(text);
    } else obey[command.name]?.(command);
  }

  return {
    line,
    say: show,
    annotate,
    ...{ shown, raw, annotations, groups, outputs, state },
    get failed() {
      return failed;
    },
  };
}
