// The only import of a module: lines that are kept with the run.
declare module 'portolan:mapping/log@1.0.0' {
  export function write(level: 'debug' | 'info' | 'warn' | 'error', text: string): void;
}
