/**
 * The line editor of a terminal in raw mode: bytes in, lines out.
 *
 * Owns the line being typed, its echo and the history. It must never grow
 * without bound, split a character, or pass a control sequence on as text.
 */

export interface LineOptions {
  write(text: string): void;
  readonly prompt: string;
  /** False where the kernel echoes and edits (a tty in canonical mode, termios(3)). */
  readonly echo: boolean;
  onLine(line: string): void;
  /** ^C. */
  onInterrupt(): void;
}

/** Bytes of a line at most; what goes beyond is refused with a bell. */
const maxLineBytes = 4096;
/** Characters typed ahead of a running command at most. */
const maxAhead = 4096;
const maxHistory = 100;
const bell = "\x07";
/** Back to the first column, and erase to the end of the line (ECMA-48). */
const eraseLine = "\r\x1b[K";

const encoder = new TextEncoder();

export class LineEditor {
  readonly #options: LineOptions;
  readonly #decoder = new TextDecoder();
  #line: string[] = [];
  #bytes = 0;
  #escape: "none" | "escape" | "sequence" | "single" = "none";
  #afterReturn = false;
  readonly #history: string[] = [];
  /** Position in the history; its length is the line being typed. */
  #at = 0;
  #draft: string[] = [];
  #paused = false;
  #ahead = "";
  /** What this turn has to write, in one piece. */
  #out = "";

  constructor(options: LineOptions) {
    this.#options = options;
  }

  /** Takes what was typed. */
  feed(bytes: Uint8Array): void {
    this.#take(this.#decoder.decode(bytes, { stream: true }));
  }

  /** Shows the prompt and whatever is typed so far. */
  show(): void {
    this.#options.write(this.#options.prompt + this.#line.join(""));
  }

  /** Prints text above the line being typed. `text` ends with a newline and is safe to show. */
  above(text: string): void {
    if (this.#paused) this.#options.write(text);
    else this.#options.write(`${eraseLine}${text}${this.#options.prompt}${this.#line.join("")}`);
  }

  /** A command runs: what is typed waits, but for ^C. */
  pause(): void {
    this.#paused = true;
  }

  /** The command is done: prompt again and take what was typed meanwhile. */
  resume(): void {
    this.#paused = false;
    this.show();
    const ahead = this.#ahead;
    this.#ahead = "";
    this.#take(ahead);
  }

  #take(text: string): void {
    for (const character of text) {
      if (this.#paused) this.#wait(character);
      else this.#key(character);
    }
    this.#flush();
  }

  #wait(character: string): void {
    if (character === "\x03") {
      this.#ahead = "";
      this.#options.onInterrupt();
    } else if (this.#ahead.length < maxAhead) this.#ahead += character;
  }

  #key(character: string): void {
    if (this.#escape !== "none") return this.#inEscape(character);
    const afterReturn = this.#afterReturn;
    this.#afterReturn = character === "\r";
    switch (character) {
      case "\r":
        return this.#submit();
      case "\n":
        return afterReturn ? undefined : this.#submit();
      case "\x03":
        this.#echo("^C\r\n");
        this.#replace([]);
        this.#at = this.#history.length;
        this.#flush();
        return this.#options.onInterrupt();
      case "\x15":
        return this.#redraw([]);
      case "\x7f":
      case "\b":
        return this.#backspace();
      case "\x1b":
        this.#escape = "escape";
        return;
      default:
        return this.#insert(character);
    }
  }

  /** ESC [ parameters final, or ESC O final; only the arrows up and down mean something. */
  #inEscape(character: string): void {
    const final = character >= "@" && character <= "~";
    if (this.#escape === "escape") {
      this.#escape = character === "[" ? "sequence" : character === "O" ? "single" : "none";
      // Escape and then Enter or ^C: the key counts. Escape and a letter is Alt: it does not.
      if (character < " ") this.#key(character);
      return;
    }
    // Anything a sequence can not hold ends it: a line must not be swallowed by noise.
    const inside = this.#escape === "sequence" && character >= " " && character < "@";
    if (inside) return;
    this.#escape = "none";
    if (!final) return this.#key(character);
    if (character === "A") this.#recall(this.#at - 1);
    if (character === "B") this.#recall(this.#at + 1);
  }

  #insert(character: string): void {
    const code = character.codePointAt(0)!;
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return;
    const bytes = encoder.encode(character).length;
    if (this.#bytes + bytes > maxLineBytes) return this.#echo(bell);
    this.#line.push(character);
    this.#bytes += bytes;
    this.#echo(character);
  }

  #backspace(): void {
    const last = this.#line.pop();
    if (last === undefined) return;
    this.#bytes -= encoder.encode(last).length;
    // Only of ASCII is it certain that it takes one column.
    if (last < "\x7f") this.#echo("\b \b");
    else this.#redraw(this.#line);
  }

  #recall(at: number): void {
    if (at < 0 || at > this.#history.length) return;
    if (this.#at === this.#history.length) this.#draft = this.#line;
    this.#at = at;
    this.#redraw(at === this.#history.length ? this.#draft : [...this.#history[at]!]);
  }

  #submit(): void {
    this.#echo("\r\n");
    const line = this.#line.join("");
    this.#replace([]);
    if (line.trim() !== "" && this.#history.at(-1) !== line) this.#history.push(line);
    if (this.#history.length > maxHistory) this.#history.shift();
    this.#at = this.#history.length;
    this.#flush();
    this.#options.onLine(line);
  }

  #redraw(line: string[]): void {
    this.#replace(line);
    this.#echo(`${eraseLine}${this.#options.prompt}${this.#line.join("")}`);
  }

  #replace(line: string[]): void {
    this.#line = line;
    this.#bytes = encoder.encode(line.join("")).length;
  }

  #echo(text: string): void {
    if (this.#options.echo) this.#out += text;
  }

  #flush(): void {
    if (this.#out === "") return;
    const out = this.#out;
    this.#out = "";
    this.#options.write(out);
  }
}
