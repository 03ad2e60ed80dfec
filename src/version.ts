/** The version of this system, the one place that says it. */
export const version = "1.0.0-alpha.1";
