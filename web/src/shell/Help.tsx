import { Kbd, Modal } from "@mantine/core";
import classes from "./Help.module.css";

const KEYS: [keys: string[], text: string][] = [
  [["Ctrl", "K"], "go anywhere: a task, a node, a page"],
  [["/"], "search in what is shown: tasks, a log"],
  [["j", "k"], "next and previous row"],
  [["Enter"], "open the row"],
  [["x"], "choose the row"],
  [["c"], "cancel the task, or those that are chosen; it asks"],
  [["r"], "rerun the task"],
  [["Esc"], "close what is open, choose none"],
  [["?"], "this"],
];

/** The keys, and how to read a GPU bar. */
export function Help({ isOpen, close }: { isOpen: boolean; close: () => void }) {
  return (
    <Modal opened={isOpen} onClose={close} title="Keys" size="md">
      <dl className={classes.keys}>
        {KEYS.map(([keys, text]) => (
          <div key={text}>
            <dt>
              {keys.map((key) => (
                <Kbd key={key} size="sm">
                  {key}
                </Kbd>
              ))}
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <h2 className={classes.head}>A GPU bar</h2>
      <p className={classes.text}>
        Its length is the GPU's memory. From the left each task in its owner's colour: solid to what
        it uses, hatched to what is reserved for it, edged red where it goes beyond. Grey stripes
        are processes that are no task's. The rest is free. The line below is how busy the GPU was
        in the last ten minutes.
      </p>
    </Modal>
  );
}
