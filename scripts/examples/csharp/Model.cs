// What both examples need of a ctcnet model: its session, its metadata, its inputs.
using System;
using System.Globalization;
using System.IO;
using System.Linq;
using Microsoft.ML.OnnxRuntime;

sealed class Model : IDisposable
{
    readonly SessionOptions options = new SessionOptions { IntraOpNumThreads = 1 };

    public readonly InferenceSession Session;

    public Model(string path)
    {
        Session = new InferenceSession(path, options);
    }

    public void Dispose()
    {
        Session.Dispose();
        options.Dispose();
    }

    /// <summary>A property of the file's metadata, such as "classes".</summary>
    public string Property(string key)
    {
        string value;
        if (!Session.ModelMetadata.CustomMetadataMap.TryGetValue(key, out value))
            throw new InvalidDataException("the model has no property " + key);
        return value;
    }

    /// <summary>Raw little-endian uint16 counts of a whole file (on a little-endian machine).</summary>
    public static ushort[] ReadCounts(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        if (bytes.Length % sizeof(ushort) != 0)
            throw new InvalidDataException(path + " holds no whole number of uint16 counts");
        ushort[] counts = new ushort[bytes.Length / sizeof(ushort)];
        Buffer.BlockCopy(bytes, 0, counts, 0, bytes.Length);
        return counts;
    }

    /// <summary>
    /// Levels in counts, one per channel, from "55,53.5,51"; NaN, "the model's own", for null and for nan.
    /// The name is "background" or "scale". The graph checks the number of levels alone.
    /// </summary>
    public static float[] Levels(string name, string text, int channels)
    {
        if (text == null)
            return Enumerable.Repeat(float.NaN, channels).ToArray();
        string[] parts = text.Split(',');
        float[] values = new float[parts.Length];
        bool right = parts.Length == channels;
        for (int k = 0; right && k < channels; k++)
            right = ReadLevel(parts[k], out values[k]) && !(name == "scale" && values[k] <= 0);
        if (!right)
            throw new InvalidDataException(name + " " + text + " is not " + channels
                + " numbers, one per channel, none infinite and a scale above 0");
        return values;
    }

    static bool ReadLevel(string text, out float value)
    {
        value = float.NaN;
        return text == "nan" || text == "NaN"
            || (float.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value)
            && !float.IsNaN(value) && !float.IsInfinity(value));
    }

    /// <summary>A float as text that reads back as the same float.</summary>
    public static string Text(float value)
    {
        return value.ToString("G9", CultureInfo.InvariantCulture);
    }
}
