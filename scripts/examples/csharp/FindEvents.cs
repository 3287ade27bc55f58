// Find and classify the events of one frame and print one line of CSV for each. For research use only.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Microsoft.ML.OnnxRuntime;

static class FindEvents
{
    static readonly string[] Outputs =
    {
        "x_px", "y_px", "diameter_um", "kind", "probabilities", "unassigned", "atypicality", "truncated", "events_found",
    };

    public static void Run(string modelPath, string framePath, string size, string backgroundText, string scaleText)
    {
        long[] sides = size.Split('x').Select(long.Parse).ToArray();
        using (var model = new Model(modelPath))
        {
            string panel = model.Property("panel");
            int channels = panel.Split(',').Length;
            ushort[] counts = Model.ReadCounts(framePath);
            if (sides.Length != 2 || counts.Length != channels * sides[0] * sides[1])
                throw new InvalidDataException("the file does not hold a frame of this size");
            float[] background = Model.Levels("background", backgroundText, channels);
            float[] scale = Model.Levels("scale", scaleText, channels);
            long[] maxEvents = { long.Parse(model.Property("max_events")) };
            var inputs = new Dictionary<string, OrtValue>
            {
                ["frame"] = OrtValue.CreateTensorValueFromMemory(counts, new[] { channels, sides[1], sides[0] }),
                ["background"] = OrtValue.CreateTensorValueFromMemory(background, new long[] { channels }),
                ["scale"] = OrtValue.CreateTensorValueFromMemory(scale, new long[] { channels }),
                ["max_events"] = OrtValue.CreateTensorValueFromMemory(maxEvents, new long[] { 1 }),
            };
            using (var options = new RunOptions())
            using (var events = model.Session.Run(options, inputs, Outputs))
            {
                Console.WriteLine("# For research use only. Model " + model.Property("name") + ", channels " + panel);
                Print(model, events);
            }
            foreach (OrtValue value in inputs.Values)
                value.Dispose();
        }
    }

    static void Print(Model model, IReadOnlyList<OrtValue> events)
    {
        string[] classes = model.Property("classes").Split(',');
        string[] kinds = model.Property("kinds").Split(',');
        float[][] places = events.Take(3).Select(value => value.GetTensorDataAsSpan<float>().ToArray()).ToArray();
        int[] kind = events[3].GetTensorDataAsSpan<int>().ToArray();
        float[] probabilities = events[4].GetTensorDataAsSpan<float>().ToArray();
        bool[] unassigned = events[5].GetTensorDataAsSpan<bool>().ToArray();
        float[] atypicality = events[6].GetTensorDataAsSpan<float>().ToArray();
        bool truncated = events[7].GetTensorDataAsSpan<bool>().ToArray()[0];
        long found = events[8].GetTensorDataAsSpan<long>().ToArray()[0];

        Console.WriteLine("# " + found + " events" + (truncated ? ", more than were asked for" : ""));
        Console.WriteLine("x_px,y_px,diameter_um,kind,class,unassigned,atypicality,"
            + string.Join(",", classes.Select(name => "p_" + name)));
        for (int row = 0; row < kind.Length; row++)
        {
            var p = new ArraySegment<float>(probabilities, row * classes.Length, classes.Length).ToArray();
            int best = Math.Max(0, Array.IndexOf(p, p.Max()));
            string place = string.Join(",", places.Select(values => Model.Text(values[row])));
            string numbers = string.Join(",", new[] { atypicality[row] }.Concat(p).Select(Model.Text));
            Console.WriteLine(string.Join(",", place, kinds[kind[row]], classes[best], unassigned[row] ? 1 : 0, numbers));
        }
    }
}
