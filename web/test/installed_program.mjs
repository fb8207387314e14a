/** What a project does that has the package installed: prints the backend and a result, and whether errors are typed. */
import * as whole from "ruvector-attention";
import { load } from "ruvector-attention/native";

for (const load_ of [whole.load, load, whole.load]) {
  const ra = await load_({ runtime: "native" });
  const flash = await ra.create("flash", { dim: 2 });
  console.log(
    ra.backend,
    flash.forwardSync([[1, 0]], [[1, 0]], [[5]])[0],
    (await flash.forward([[1, 0]], [[1, 0]], [[7]]))[0],
  );
  try {
    flash.forwardSync([[1]], [[1, 0]], [[5]]);
  } catch (error) {
    console.log(error instanceof whole.DimensionMismatchError);
  }
}
