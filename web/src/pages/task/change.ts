/** What the server proposes as a command-line option, as a change of the request. Pure. */
import type { Request } from "../../api/types";

export type RequestChange = Partial<
  Pick<Request, "gpus" | "gpu_memory_mib" | "exclusive" | "cpus" | "memory_mib">
>;

/** `--gpu-mem 11G` → `{gpu_memory_mib: 11264, exclusive: false}`; undefined: not one that is known. */
export function changeOf(option: string): RequestChange | undefined {
  const [name, value = ""] = option.trim().split(/\s+/);
  const gib = /^(\d+)G$/.exec(value)?.[1];
  switch (name) {
    case "--gpu-mem":
      return gib ? { gpu_memory_mib: Number(gib) * 1024, exclusive: false } : undefined;
    case "--mem":
      return gib ? { memory_mib: Number(gib) * 1024 } : undefined;
    case "--gpus":
      return /^\d+$/.test(value) ? { gpus: Number(value) } : undefined;
    case "--cpus":
      return /^\d+$/.test(value) ? { cpus: Number(value) } : undefined;
    case "--shared":
      return { exclusive: false };
    default:
      return undefined;
  }
}
