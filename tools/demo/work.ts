// What is done in the first guest: a small analysis that stands on a library of its own, and then more work on it.
// Files of many kinds, so that the checks have something to compare.

/** As root: the included folder. */
export const prepareLibrary = `
set -e
mkdir -p /opt/fit/lib
cp /usr/lib/x86_64-linux-gnu/libfit.so.1.0 /opt/fit/lib/
ln -s libfit.so.1.0 /opt/fit/lib/libfit.so.1
chown -R lab:lab /opt/fit`

/** As the user. Points on y = 2x + 1, with noise that comes out the same each time. */
export const firstWork = `
set -e
mkdir -p bin analysis/figures 'analysis/käse und brot'
cp /usr/bin/fit bin/fit
awk 'BEGIN { for (i = 1; i <= 200; i++) printf "%d %.4f\\n", i, 2 * i + 1 + (i * 7919) % 41 - 20 }' >analysis/points.txt
cat >analysis/run <<'END'
#!/bin/sh
# The line through the points, with the library that was there when this was written.
LD_LIBRARY_PATH=/opt/fit/lib exec ~/bin/fit ~/analysis/points.txt
END
chmod 750 analysis/run
echo 'first try: all points' >analysis/notes.txt
echo 'to be thrown away' >analysis/draft.txt
head -c 700000 /dev/urandom >analysis/figures/fit.png
truncate -s 20M analysis/table.sparse
echo end >>analysis/table.sparse
ln analysis/notes.txt analysis/notes-too.txt
ln -s ../points.txt 'analysis/käse und brot/points'
touch -- "analysis/-name that begins with a dash" "$(printf 'analysis/caf\\351')"
mkfifo analysis/pipe
touch -d '2001-02-03 04:05:06' analysis/figures
setfattr -n user.origin -v 'run 7' analysis/points.txt
setfacl -m u:100:r,g:50:rw analysis/notes.txt
echo 'export FIT_POINTS=200' >>.profile
./analysis/run`

export const moreWork = `
set -e
awk 'BEGIN { for (i = 201; i <= 300; i++) printf "%d %.4f\\n", i, 2 * i + 1 + (i * 7919) % 41 - 20 }' >>analysis/points.txt
echo 'second try: 100 points more' >analysis/notes.txt
mv analysis/figures analysis/plots
rm analysis/draft.txt
./analysis/run`

export const deletedFile = '/home/lab/analysis/draft.txt'
export const changedFile = '/home/lab/analysis/notes.txt'
