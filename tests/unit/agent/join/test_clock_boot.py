"""Which start of the machine this is."""

from pxeserver.agent.join.clock import boot_id


def made(tmp_path, kernel, began):
    (tmp_path / "sys/kernel/random").mkdir(parents=True, exist_ok=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text(kernel + "\n")
    (tmp_path / "1").mkdir(exist_ok=True)
    fields = ["S"] + ["0"] * 18 + [str(began), "0", "0"]
    (tmp_path / "1/stat").write_text(f"1 (a (strange) name) {' '.join(fields)}\n")
    return boot_id(tmp_path)


def test_a_container_that_is_started_again_has_another_boot_under_the_same_kernel(tmp_path):
    first = made(tmp_path, "k1", 1500)
    assert first == "k1-1500"
    assert made(tmp_path, "k1", 1500) == first
    assert len({first, made(tmp_path, "k1", 9000), made(tmp_path, "k2", 1500)}) == 3


def test_without_proc_each_process_is_a_boot_of_its_own(tmp_path):
    assert boot_id(tmp_path).startswith("pid-")
