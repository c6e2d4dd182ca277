// fit FILE: prints the slope of the line through the points of a file ("x y" per line), by whichever libfit.so.1 is found.
#include <stdio.h>

double fit_slope(const double *x, const double *y, int count);
int fit_version(void);

enum { points_max = 10000 };

int main(int argc, char **argv)
{
	static double x[points_max], y[points_max];
	int count = 0;
	FILE *in = argc == 2 ? fopen(argv[1], "r") : NULL;
	if (!in) {
		fprintf(stderr, "usage: fit FILE\n");
		return 2;
	}
	while (count < points_max && fscanf(in, "%lf %lf", &x[count], &y[count]) == 2)
		count++;
	printf("slope %.6f (%d points, libfit %d)\n", fit_slope(x, y, count), count, fit_version());
	return 0;
}
