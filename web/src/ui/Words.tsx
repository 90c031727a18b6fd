// A text in which commands and keys stand between backticks.

interface Props {
  readonly text: string;
}

export function Words({ text }: Props) {
  return text.split('`').map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part));
}
