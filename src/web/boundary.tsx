/**
 * Boundary: an error in one part of the page stays in that part.
 *
 * It catches what the components below it throw while they render, so it must
 * stand above the part it guards, not inside it.
 */
import { Component } from "preact";
import type { ComponentChildren } from "preact";

interface Props {
  readonly name: string;
  readonly onError: (error: unknown) => void;
  readonly children: ComponentChildren;
}

export class Boundary extends Component<Props, { error: Error | null }> {
  override state = { error: null as Error | null };

  static override getDerivedStateFromError(error: unknown) {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  override componentDidCatch(error: unknown): void {
    this.props.onError(error);
  }

  override render() {
    const { error } = this.state;
    if (error === null) return this.props.children;
    return (
      <div class="panel broken" role="alert">
        <p>“{this.props.name}” met an error; the rest of the page goes on.</p>
        <p class="mono">{error.message}</p>
        <button type="button" onClick={() => this.setState({ error: null })}>Show it again</button>
      </div>
    );
  }
}
